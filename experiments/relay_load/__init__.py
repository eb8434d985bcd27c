"""The relay's CPU load against decryption and re-encryption, in the network of embodiment 1."""
