"""A directory of recordings as a store; what is in one of their files is said by the package `cassette`."""
