"""Well-known cookies and the cookies that frameworks set themselves, as data."""
