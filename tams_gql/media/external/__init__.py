"""Reading copies of objects that lie outside this service, to bring them into its storage.

Clients choose the URLs, so a request may be meant for something that only this machine can reach.
``rules`` says what may be asked for, ``addresses`` what may be connected to, whatever a name
resolves to. Only ``download`` imports aiohttp, and only when something is read.
"""
