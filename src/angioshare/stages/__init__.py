"""THE PIPELINE, one public function a file: prepare, train, sample, segment, evaluate, report."""
