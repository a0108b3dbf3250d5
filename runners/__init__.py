"""The runners: what each needs, and the commands that start one."""

import pipelines as pipelines  # before Beam is imported anywhere: it keeps Beam's import quiet
