"""Upload a folder to S3, config.json last: `python upload_folder.py FOLDER BUCKET PREFIX`. Runs in the base model's pod."""

import sys
from pathlib import Path

import boto3
from botocore.config import Config


def main(folder: Path, bucket: str, prefix: str) -> None:
    """Upload every file below the folder; credentials and endpoint come from the environment."""
    client = boto3.client("s3", config=Config(s3={"addressing_style": "path"}))
    for path in sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.name == "config.json"):
        client.upload_file(str(path), bucket, f"{prefix}/{path.relative_to(folder)}")
        print(f"uploaded {path.name}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
