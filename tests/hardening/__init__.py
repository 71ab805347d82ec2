"""What is promised to those who run a hub among others who may mean harm."""
