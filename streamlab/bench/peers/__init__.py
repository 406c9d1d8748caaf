"""How fast queue libraries on Redis drain jobs that do nothing; each runs in an environment of its own."""
