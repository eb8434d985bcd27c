"""The group administrators' page: ``python -m nodes.portal --config portal.toml``.

``configuration``  its file
``sessions``       who is logged in; ``throttle`` slows guessing down
``security``       what every request must satisfy, and the headers of every answer
``views``          what a group's page shows, as values
``live``           the running server's state, fetched at most once a second for all pages together
``pages``          templates to answers
``login``, ``groups``, ``changes``  the routes; ``application`` puts them together

A process of its own: it reads the users' database and the server's status socket. It never holds a
data key and no cipher; nothing else imports it or a web library.

Patent: Fig. 11 (embodiment 2: a portal page for group administrators).
"""
