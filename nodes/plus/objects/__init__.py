"""What the sockets IPADAPTER and INSIGHTFACE carry, made by these nodes or by other packs."""
