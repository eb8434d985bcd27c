"""What a server keeps on disk: users, groups, Sub IDs, administrators, and the log of changes.

``schema``          the tables, version by version
``store``           the file: connections, transactions, and whether somebody has changed something
``passwords``       argon2id
``actor``           who makes a change, from where, and what they may change
``audit``           the append-only log
``administrators``  who may change which groups on the page

``nodes.users`` puts them together. The database is the truth: a running server follows it.
"""
