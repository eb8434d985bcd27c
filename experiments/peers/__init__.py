"""What people run instead: other layer-2 VPNs through a hub, in the same network as our relay."""
