"""What tifffile and scikit-image read of a folder of images, for `tests/corpus.rs`: nnU-Net's own libraries.

    python make_corpus.py FOLDER        (pip install tifffile imagecodecs scikit-image)

Writes FOLDER/expected.json and FOLDER/raw, where every array is a file of little endian float32. Each file is read in a process of its own, since some
crash a decoder; arrays of more than 16 million values are left out.
"""
import json
import multiprocessing
import sys
import warnings
from pathlib import Path

import numpy as np
import skimage.io
import tifffile

MOST = 16 << 20
# A process that begins with what is imported here.
FORK = multiprocessing.get_context('fork')


def read(kind, path, raw):
    try:
        array = np.asarray((tifffile.imread if kind == 'tifffile' else skimage.io.imread)(path))
        if array.size > MOST:
            return None
        array.astype('<f4').tofile(raw)
        return {'shape': list(array.shape), 'raw': str(raw)}
    except Exception as error:
        return {'error': f'{type(error).__name__}: {error}'[:400]}


def entry(path, raw, to):
    warnings.simplefilter('ignore')
    is_tiff = path.suffix.lower() in ('.tif', '.tiff')
    found = {'file': str(path)}
    for kind in ['tifffile'] * is_tiff + ['skimage']:
        found[kind] = read(kind, path, raw.with_suffix(f'.{kind}'))
    try:
        with tifffile.TiffFile(path) as file:
            found['compression'] = file.pages[0].compression.name
    except Exception:
        pass
    to.send(found)


def main(folder):
    raw = folder / 'raw'
    raw.mkdir(exist_ok=True)
    files = sorted(path for path in folder.rglob('*') if path.suffix.lower() in ('.tif', '.tiff', '.png') and raw not in path.parents)
    entries = []
    for number, path in enumerate(files):
        to_us, to = FORK.Pipe(duplex=False)
        process = FORK.Process(target=entry, args=(path, raw / str(number), to))
        process.start()
        to.close()
        try:
            entries.append(to_us.recv())
        except EOFError:
            error = {'error': 'the reader crashed'}
            entries.append({'file': str(path), 'tifffile': error, 'skimage': error})
        process.join()
    (folder / 'expected.json').write_text(json.dumps(entries, indent=1))
    print(f'{len(entries)} files')


if __name__ == '__main__':
    main(Path(sys.argv[1]).resolve())
