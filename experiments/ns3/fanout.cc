// The same scenario in ns-3: frames go up a tree to a relay, which sends a copy of each to every other client.
//
//   fanout SCENARIO ARRIVALS LOADS [SCHEDULER]
//
// SCENARIO is a text file of numbers (experiments/ns3/scenario.py writes it and says what they mean). ARRIVALS
// becomes 64-bit numbers (machine's order): for each frame and each client, when its copy came in ns, -1 where none was due.
// LOADS becomes the packets and octets that each direction of each link has sent, likewise. Standard output:
// seconds of CPU time that the simulation took without set-up and output, events, transmissions.
//
// All that could slow ns-3 down is left out: there is no IP, no socket, no trace. Nodes forward between
// point-to-point devices by one look-up in an array; packets have a header of 8 octets and no stored payload.

#include "ns3/core-module.h"
#include "ns3/network-module.h"
#include "ns3/point-to-point-channel.h"
#include "ns3/point-to-point-net-device.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

using namespace ns3;

namespace
{

constexpr uint16_t PROTOCOL = 0x0800; // the devices know this one and IPv6's alone
constexpr uint32_t PPP_OCTETS = 2;    // what the devices add to a packet
constexpr uint32_t TO_RELAY = std::numeric_limits<uint32_t>::max();
const std::string UNBOUNDED = "2000000000p";

void
Fail(const std::string& what)
{
    std::fprintf(stderr, "fanout: %s\n", what.c_str());
    std::exit(2);
}

// Says which frame a packet is of and which client it is for.
class FrameHeader : public Header
{
  public:
    uint32_t frame{0};
    uint32_t client{TO_RELAY};

    static TypeId GetTypeId()
    {
        static TypeId id = TypeId("blindrelay::FrameHeader").SetParent<Header>().AddConstructor<FrameHeader>();
        return id;
    }

    TypeId GetInstanceTypeId() const override { return GetTypeId(); }
    uint32_t GetSerializedSize() const override { return 8; }
    void Print(std::ostream&) const override {}

    void Serialize(Buffer::Iterator at) const override
    {
        at.WriteU32(frame);
        at.WriteU32(client);
    }

    uint32_t Deserialize(Buffer::Iterator at) override
    {
        frame = at.ReadU32();
        client = at.ReadU32();
        return 8;
    }
};

// One direction of a link, and what it has sent.
struct Direction
{
    Ptr<PointToPointNetDevice> device;
    int64_t packets{0};
    int64_t octets{0};

    void Send(Ptr<Packet> packet)
    {
        ++packets;
        octets += packet->GetSize() + PPP_OCTETS;
        if (!device->Send(packet, device->GetBroadcast(), PROTOCOL))
        {
            Fail("a queue dropped a packet; they were to be unbounded");
        }
    }
};

struct Frame
{
    int64_t at;
    uint32_t client;
    uint32_t octets;
};

class Scenario
{
  public:
    explicit Scenario(const char* path)
    {
        std::ifstream file(path);
        uint32_t nodes, links, clients, frames;
        if (!(file >> nodes >> links >> clients >> frames >> m_relay))
        {
            Fail(std::string(path) + ": expected nodes, links, clients, frames, relay");
        }
        m_directions.resize(2 * links);
        m_up.resize(nodes);
        m_down.resize(nodes, std::vector<Direction*>(clients));
        for (uint32_t i = 0; i < nodes; ++i)
        {
            m_nodes.push_back(CreateObject<Node>());
        }
        // Each link leads from a node to its parent, parents first: the relay is the root.
        std::vector<uint32_t> parent(nodes, m_relay);
        for (uint32_t i = 0; i < links; ++i)
        {
            uint32_t child, above;
            uint64_t rate;
            int64_t delay;
            file >> child >> above >> rate >> delay;
            parent.at(child) = above;
            Lay(i, child, above, rate, delay);
        }
        m_clients.resize(clients);
        for (uint32_t i = 0; i < clients; ++i)
        {
            file >> m_clients[i];
            for (uint32_t node = m_clients[i]; node != m_relay; node = parent.at(node))
            {
                m_down[parent.at(node)][i] = m_up[node] + 1;
            }
        }
        m_frames.resize(frames);
        for (auto& frame : m_frames)
        {
            file >> frame.at >> frame.client >> frame.octets;
        }
        if (!file)
        {
            Fail(std::string(path) + ": it ends too early");
        }
        m_arrivals.assign(static_cast<size_t>(frames) * clients, -1);
    }

    void Start() { ScheduleNext(); }

    void WriteArrivals(const char* path) const { Write(path, m_arrivals); }

    void WriteLoads(const char* path) const
    {
        std::vector<int64_t> loads;
        for (const auto& direction : m_directions)
        {
            loads.push_back(direction.packets);
            loads.push_back(direction.octets);
        }
        Write(path, loads);
    }

    int64_t Transmissions() const
    {
        int64_t sum = 0;
        for (const auto& direction : m_directions)
        {
            sum += direction.packets;
        }
        return sum;
    }

  private:
    void Lay(uint32_t link, uint32_t child, uint32_t above, uint64_t rate, int64_t delay)
    {
        auto channel = CreateObject<PointToPointChannel>();
        channel->SetAttribute("Delay", TimeValue(NanoSeconds(delay)));
        uint32_t ends[] = {child, above};
        for (int i = 0; i < 2; ++i)
        {
            auto device = CreateObject<PointToPointNetDevice>();
            auto queue = CreateObject<DropTailQueue<Packet>>();
            queue->SetAttribute("MaxSize", StringValue(UNBOUNDED));
            device->SetQueue(queue);
            device->SetDataRate(DataRate(rate));
            device->SetAddress(Mac48Address::Allocate());
            m_nodes.at(ends[i])->AddDevice(device);
            device->Attach(channel);
            device->SetMtu(std::numeric_limits<uint16_t>::max());
            uint32_t node = ends[i];
            device->SetReceiveCallback(
                Callback<bool, Ptr<NetDevice>, Ptr<const Packet>, uint16_t, const Address&>(
                    [this, node](Ptr<NetDevice>, Ptr<const Packet> packet, uint16_t, const Address&) {
                        Receive(node, packet);
                        return true;
                    }));
            m_directions[2 * link + i].device = device;
        }
        m_up.at(child) = &m_directions[2 * link];
    }

    void ScheduleNext()
    {
        if (m_next < m_frames.size())
        {
            Simulator::Schedule(NanoSeconds(m_frames[m_next].at) - Simulator::Now(), &Scenario::SendNext, this);
        }
    }

    void SendNext()
    {
        const auto& frame = m_frames[m_next];
        FrameHeader header;
        header.frame = m_next;
        auto packet = Create<Packet>(frame.octets - PPP_OCTETS - header.GetSerializedSize());
        packet->AddHeader(header);
        m_up[m_clients[frame.client]]->Send(packet);
        ++m_next;
        ScheduleNext();
    }

    void Receive(uint32_t node, Ptr<const Packet> received)
    {
        FrameHeader header;
        received->PeekHeader(header);
        if (header.client == TO_RELAY)
        {
            if (node == m_relay)
            {
                FanOut(header, received);
            }
            else
            {
                m_up[node]->Send(received->Copy());
            }
        }
        else if (auto direction = m_down[node][header.client])
        {
            direction->Send(received->Copy());
        }
        else
        {
            m_arrivals[static_cast<size_t>(header.frame) * m_clients.size() + header.client] =
                Simulator::Now().GetNanoSeconds();
        }
    }

    void FanOut(FrameHeader header, Ptr<const Packet> received)
    {
        auto body = received->Copy();
        body->RemoveHeader(header);
        uint32_t sender = m_frames[header.frame].client;
        for (uint32_t client = 0; client < m_clients.size(); ++client)
        {
            if (client != sender)
            {
                auto copy = body->Copy();
                header.client = client;
                copy->AddHeader(header);
                m_down[m_relay][client]->Send(copy);
            }
        }
    }

    static void Write(const char* path, const std::vector<int64_t>& values)
    {
        std::ofstream file(path, std::ios::binary);
        file.write(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(int64_t));
        if (!file.flush())
        {
            Fail(std::string(path) + ": cannot be written");
        }
    }

    uint32_t m_relay{0};
    uint32_t m_next{0};
    std::vector<Ptr<Node>> m_nodes;
    std::vector<Direction> m_directions; // of each link: towards the relay, and back
    std::vector<Direction*> m_up;        // by node
    std::vector<std::vector<Direction*>> m_down; // by node and client
    std::vector<uint32_t> m_clients;             // their nodes
    std::vector<Frame> m_frames;
    std::vector<int64_t> m_arrivals;
};

double
CpuSeconds()
{
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

} // namespace

int
main(int argc, char* argv[])
{
    if (argc != 4 && argc != 5)
    {
        Fail("usage: fanout SCENARIO ARRIVALS LOADS [SCHEDULER]");
    }
    ObjectFactory scheduler;
    scheduler.SetTypeId(argc == 5 ? argv[4] : "ns3::MapScheduler");
    Simulator::SetScheduler(scheduler);
    Scenario scenario(argv[1]);
    scenario.Start();
    double begin = CpuSeconds();
    Simulator::Run();
    double seconds = CpuSeconds() - begin;
    scenario.WriteArrivals(argv[2]);
    scenario.WriteLoads(argv[3]);
    std::printf("%.9f %llu %lld\n", seconds,
                static_cast<unsigned long long>(Simulator::GetEventCount()),
                static_cast<long long>(scenario.Transmissions()));
    Simulator::Destroy();
    return 0;
}
