"""Call records that survive a crash."""
