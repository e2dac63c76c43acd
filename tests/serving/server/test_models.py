import time
from dataclasses import replace

import pytest

from inc_tf.serving.server.models import END, LOADING, Models


@pytest.mark.slow
def test_a_model_that_is_tried_again_keeps_its_state_and_error(tmp_path):
    (tmp_path / "broken" / "1").mkdir(parents=True)
    seen = []
    models = Models(tmp_path, page=False, changed=lambda _, model: seen.append(model.latest))
    models._refresh()
    assert [version.state for version in seen] == [LOADING, END]
    models._refresh()
    assert len(seen) == 2  # too early to try again
    models.all = {"broken": replace(models.all["broken"], tried=time.monotonic() - 3600)}
    models._refresh()
    assert [(version.state, version.error) for version in seen[2:]] == 2 * [(END, seen[1].error)]
    assert "broken/1' cannot be served" in seen[1].error
