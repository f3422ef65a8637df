"""From additive statistics to the plan. Pure: knows no torch, no images, no sites.

fingerprint = sum of what sites send          (first exchange)
spacing = target_spacing(fingerprint)
shapes = sum of shapes resampled to spacing   (second exchange)
plan = make_plan(fingerprint, shapes, planner="plain", memory_gib=8)
"""
