"""One message to 9,500 subscribers: CPU time per delivery, and when the first of them has it."""
