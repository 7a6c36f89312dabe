"""Who is in which campaign: enrolled, paused, resumed, moved on by hand, and listed."""
