"""The load client: a process of its own that does jobs and reports what it saw.

Raw sockets and prepared requests, because its work must stay small beside the server's.
"""
