"""Send mails behind STARTTLS: mail.py HOST PORT AUTHORITY."""

import smtplib
import ssl
import sys

host, port, authority = sys.argv[1:]
for number in range(5):
    with smtplib.SMTP(host, int(port), timeout=20) as client:
        client.starttls(context=ssl.create_default_context(cafile=authority))
        text = f"Subject: mail {number}\r\n\r\n" + "A line among many.\r\n" * 500
        client.sendmail("ann@example.org", ["bob@example.org"], text)
