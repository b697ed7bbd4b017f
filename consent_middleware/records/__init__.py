"""The proof of every choice: what was offered, what was answered, and when.

`event` and `snapshot` are pure values and need nothing but the core; `store.open_store` loads
SQLAlchemy, so it is imported where a store is configured and nowhere else.
"""
