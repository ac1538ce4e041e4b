"""Send mails behind STARTTLS: mail.py HOST PORT AUTHORITY."""

import smtplib
import ssl
import sys

from patience import SECONDS

host, port, authority = sys.argv[1:]
for number in range(5):
    with smtplib.SMTP(host, int(port), timeout=SECONDS) as client:
        client.starttls(context=ssl.create_default_context(cafile=authority))
        text = f"Subject: mail {number}\r\n\r\n" + "A line among many.\r\n" * 500
        client.sendmail("ann@example.org", ["bob@example.org"], text)
