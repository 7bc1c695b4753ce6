"""The durable cluster beside other libraries: builds or installs them, and puts the same closed loop on each."""
