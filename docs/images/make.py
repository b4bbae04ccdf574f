"""Make `demo.png` of the README from a finished demo: `python docs/images/make.py demo-out`."""

import io
import sys
from pathlib import Path

from PIL import Image, ImageDraw

from angioshare.report.pictures import sample_sheet
from angioshare.stages.folder import open_run
from angioshare.stages.report import gather

if __name__ == "__main__":
    out = Path(sys.argv[1])
    content = gather(open_run(out / "run", state=out / "state"))
    sheets = []
    for samples in content.samples:
        if samples.source in ("real", "wgan", "wgan-private", "calibrated"):
            sheet = Image.open(io.BytesIO(sample_sheet(samples).data)).convert("RGB")
            titled = Image.new("RGB", (sheet.width, sheet.height + 26), "white")
            ImageDraw.Draw(titled).text((4, 5), samples.title, "black", font_size=15)
            titled.paste(sheet, (0, 26))
            sheets.append(titled)
    picture = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), "white")
    top = 0
    for sheet in sheets:
        picture.paste(sheet, (0, top))
        top += sheet.height
    scale = 900 / picture.width
    picture.resize((900, round(picture.height * scale))).save(Path(__file__).with_name("demo.png"), optimize=True)
