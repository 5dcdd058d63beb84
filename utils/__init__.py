"""What everything else stands on; nothing of ours is imported here."""
