-- Shows the VPN header between UDP and the inner IP packet in Wireshark and tshark.
--
--   tshark -X lua_script:vpn_header.lua -r capture.pcapng
--
-- What follows the header goes to the IP dissectors; with the keys in the table of ESP associations
-- (Preferences, Protocols, ESP) they show the Ethernet frames inside. A datagram that begins with
-- the inner IP packet itself (its first four bits are 4 or 6) had its header stripped. Probes and
-- bindings, which a relay answers itself, have no header and nothing inside.
-- Patent: Figs. 9 and 10; header 901, next data 902, source 903, destination 904.

local NEXT_MAC_BLOCK, NEXT_IP_HEADER = 1, 2
local FLAG_HOP_TAG = 0x01
local SHORT_LENGTH, FULL_LENGTH, TAG_LENGTH = 4, 16, 8
local PROBE, PROBE_LENGTH = 3, 20
local BINDING, BINDING_LENGTH = 4, 32

local vpn = Proto("vpn", "VPN Header")
vpn.prefs.port = Pref.uint("UDP port", 4790, "Data port of clients and servers")

local next_data = ProtoField.uint8("vpn.next_data", "Next data", base.DEC, {
    [NEXT_MAC_BLOCK] = "MAC address block",
    [NEXT_IP_HEADER] = "IP header",
    [PROBE] = "Probe",
    [BINDING] = "Binding",
})
local flags = ProtoField.uint8("vpn.flags", "Flags", base.HEX)
local flag_hop_tag = ProtoField.bool("vpn.flags.hop_tag", "Hop tag follows", 8, nil, FLAG_HOP_TAG)
local reserved = ProtoField.uint16("vpn.reserved", "Reserved", base.HEX)
local source = ProtoField.ether("vpn.source", "Source")
local destination = ProtoField.ether("vpn.destination", "Destination")
local hop_tag = ProtoField.bytes("vpn.hop_tag", "Hop tag")
local stripped = ProtoField.bool("vpn.stripped", "Header stripped")
local probe_number = ProtoField.uint16("vpn.probe.number", "Sequence number")
local probe_token = ProtoField.bytes("vpn.probe.token", "Token")
local binding_kind = ProtoField.uint8("vpn.binding.kind", "Kind", base.DEC, {
    [0] = "Question", [1] = "Bound", [2] = "Challenge",
})
local binding_client = ProtoField.uint32("vpn.binding.client", "Client ID")
local binding_counter = ProtoField.uint64("vpn.binding.counter", "Counter")
local binding_token = ProtoField.bytes("vpn.binding.token", "Token")
local binding_tag = ProtoField.bytes("vpn.binding.tag", "Tag")
vpn.fields = {
    next_data, flags, flag_hop_tag, reserved, source, destination, hop_tag, stripped,
    probe_number, probe_token,
    binding_kind, binding_client, binding_counter, binding_token, binding_tag,
}

local malformed = ProtoExpert.new(
    "vpn.malformed", "Not a VPN header", expert.group.MALFORMED, expert.severity.ERROR)
vpn.experts = { malformed }

local inner = { [4] = Dissector.get("ip"), [6] = Dissector.get("ipv6") }

local function version_at(buffer, offset)
    return buffer:len() > offset and bit.rshift(buffer(offset, 1):uint(), 4) or 0
end

local function hand_over(buffer, offset, pinfo, tree)
    local dissector = inner[version_at(buffer, offset)]
    if dissector then
        dissector:call(buffer(offset):tvb(), pinfo, tree)
    end
end

local function header_length(buffer)
    local kind = buffer(0, 1):uint()
    local length = kind == NEXT_MAC_BLOCK and FULL_LENGTH or SHORT_LENGTH
    if kind ~= NEXT_MAC_BLOCK and kind ~= NEXT_IP_HEADER then
        return nil
    end
    if buffer:len() > 1 and bit.band(buffer(1, 1):uint(), FLAG_HOP_TAG) ~= 0 then
        length = length + TAG_LENGTH
    end
    return buffer:len() >= length and length or nil
end

-- Shows a probe or a binding; false for anything else.
local function show_answered(buffer, pinfo, tree)
    local kind, length = buffer(0, 1):uint(), buffer:len()
    local is_probe = kind == PROBE and length == PROBE_LENGTH
    if not is_probe and not (kind == BINDING and length == BINDING_LENGTH) then
        return false
    end
    pinfo.cols.info = is_probe and "Probe" or "Binding"
    local branch = tree:add(vpn, buffer())
    branch:add(next_data, buffer(0, 1))
    if is_probe then
        branch:add(probe_number, buffer(2, 2))
        branch:add(probe_token, buffer(4, 16))
    else
        branch:add(binding_kind, buffer(1, 1))
        branch:add(binding_client, buffer(4, 4))
        branch:add(binding_counter, buffer(8, 8))
        branch:add(binding_token, buffer(16, 8))
        branch:add(binding_tag, buffer(24, 8))
    end
    return true
end

function vpn.dissector(buffer, pinfo, tree)
    if buffer:len() == 0 then
        return 0
    end
    pinfo.cols.protocol = "VPN"
    if inner[version_at(buffer, 0)] then
        tree:add(vpn, buffer(0, 0)):add(stripped, true):set_generated()
        hand_over(buffer, 0, pinfo, tree)
        return buffer:len()
    end
    if show_answered(buffer, pinfo, tree) then
        return buffer:len()
    end
    local length = header_length(buffer)
    if not length then
        tree:add(vpn, buffer()):add_proto_expert_info(malformed)
        return buffer:len()
    end
    local branch = tree:add(vpn, buffer(0, length))
    branch:add(next_data, buffer(0, 1))
    branch:add(flags, buffer(1, 1)):add(flag_hop_tag, buffer(1, 1))
    branch:add(reserved, buffer(2, 2))
    if buffer(0, 1):uint() == NEXT_MAC_BLOCK then
        branch:add(source, buffer(4, 6))
        branch:add(destination, buffer(10, 6))
    end
    if bit.band(buffer(1, 1):uint(), FLAG_HOP_TAG) ~= 0 then
        branch:add(hop_tag, buffer(length - TAG_LENGTH, TAG_LENGTH))
    end
    hand_over(buffer, length, pinfo, tree)
    return buffer:len()
end

local udp_ports = DissectorTable.get("udp.port")
local port_in_use

local function use_port_of_preferences()
    if port_in_use == vpn.prefs.port then
        return
    end
    if port_in_use then
        udp_ports:remove(port_in_use, vpn)
    end
    port_in_use = vpn.prefs.port
    udp_ports:add(port_in_use, vpn)
end

use_port_of_preferences()
vpn.prefs_changed = use_port_of_preferences
