"""Table distribution: the representative's tables 507 and 508, as its VPN servers hold them.

``tables``         rows by key; what differs between two tables
``publisher``      the representative's side: what each server was told, and what it has applied
``server_tables``  what each server is to hold; ``stations`` those that others have seen
``view``           one server's tables, and how far it has got
``subscriber``     a server's side: takes what comes, checks that it follows, asks for what is missing
``checks``         whether rows fit together; ``epochs`` puts those of an earlier epoch beside them
``in_force``       keeps the relay in step with them
``addresses``      where clients have shown to be, which their own server knows first
``counts``         what has come from and gone to clients

No data key has a place in them; those of hops and bindings have.

Patent: Figs. 15-19; tables 507, 508.
"""
