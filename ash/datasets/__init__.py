"""What `ash.data` and `ash.fetching` are made of: registered sets, readers of formats, downloads, archives."""
