"""All that knows NVIDIA FLARE: certificates, connections, and the two classes that a job names."""
