"""Commands that analyse what runs wrote into their experiment folders; they never change what a run wrote."""
