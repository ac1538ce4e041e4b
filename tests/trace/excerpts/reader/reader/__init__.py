"""An excerpt of a library that reads HTTP without sockets: events, fields, bodies."""
