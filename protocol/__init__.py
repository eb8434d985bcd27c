"""The system of the patent, sans-IO: bytes, times and random octets in; verdicts and actions out.

``wire``                  one file per header
``cipher``                AES-GCM, the only module that reaches a cipher
``security_association``  ESP with one key and many senders, with a replay window for each
``client``                VPN client 102 (Figs. 3-1 to 4-2, 8-1, 8-2)
``management``            user VPN management 511, the group key server (Fig. 7-1)
``relay``                 VPN transfer 512, which forwards and cannot decrypt (Fig. 7-2)

Times are integer nanoseconds of one monotonic clock; addresses of datagrams are (host, port).
"""
