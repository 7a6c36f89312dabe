"""The commands beside serve, migrate and demo. Each is a module, imported when it is asked for."""
