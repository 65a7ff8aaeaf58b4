"""The link: everything that is chosen, as one record that the address holds."""
