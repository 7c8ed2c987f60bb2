"""What every test runs under."""

from hypothesis import HealthCheck, settings

# No deadline: a first call compiles kernels, and a test must not depend on how busy the machine is.
settings.register_profile("steward", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("steward")
