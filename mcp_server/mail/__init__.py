"""Access to mail servers: credentials of mailboxes, sign-in by OAuth, and connections by SMTP and IMAP."""
