"""Which libraries can tokenloom stand in for?

Each module has the names of one library: change the import, keep the code. Nothing here is loaded by
``import tokenloom``.
"""
