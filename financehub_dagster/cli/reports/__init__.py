"""What commands tell about a platform: collected as data first, printed second."""
