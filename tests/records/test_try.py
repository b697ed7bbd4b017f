def test_it(store, event):
    """a"""
    e = event()
    store.append(e)
    assert store.latest(e.consent_id) == e
