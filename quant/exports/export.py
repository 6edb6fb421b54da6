"""``export``: a finished run as a folder that transformers loads, or as a .gguf file that llama.cpp loads."""

from hw.artifact import atomic_folder
from hw.errors import InputError
from quant.exports.finished import open_finished
from quant.exports.folders import write_bitnet, write_dense
from quant.exports.gguf_model import write_gguf
from quant.exports.job import Exported, ExportJob
from quant.exports.note import write_note
from quant.exports.stored import linear_bytes

__all__ = ["export"]


def export(job: ExportJob) -> Exported:
    """Write the run in the format; nothing is left behind where that fails.

    Raises:
        InputError: no finished run, a folder that holds something, or a format that would lose something.
    """
    if job.out.exists() and not (job.out.is_dir() and not any(job.out.iterdir())):
        raise InputError(f"{job.out}: must be a new or empty folder; give another with --out, or remove it")
    run = open_finished(job.checkpoint, job.model)
    name = "model.safetensors"
    with atomic_folder(job.out) as folder:
        if job.format == "hf":
            accuracy = write_dense(run, folder)
        elif job.format == "bitnet":
            accuracy = write_bitnet(run, folder)
        else:
            kind = job.format.removeprefix("gguf-")
            name = f"{run.manifest.model}-{run.manifest.method}-{kind}.gguf".replace("/", "--")
            accuracy = write_gguf(run, folder / name, kind)
        write_note(folder, run, job.format, name, accuracy)
    file = job.out / name
    return Exported(
        folder=job.out,
        file=name,
        file_bytes=file.stat().st_size,
        linear_bytes=linear_bytes(file),
        true_bits=run.manifest.true_bits,
        accuracy=accuracy,
    )
