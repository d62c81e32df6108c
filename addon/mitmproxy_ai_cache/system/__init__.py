"""This machine: directories, files, ports, certificates, limits."""
