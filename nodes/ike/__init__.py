"""The control channel inside an IPsec SA that IKE sets up: strongSwan's charon, and what we ask of it.

Patent: Fig. 7-1 step 701.
"""
