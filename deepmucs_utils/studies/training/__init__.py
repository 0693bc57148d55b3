"""What else a model could have been trained and tested on."""
