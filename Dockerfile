# The package with all that translation and images need.
#     docker build -t fairseq_dlf --build-arg TORCH_INDEX=… .
# TORCH_INDEX is the address that pytorch.org names for the build of torch that you want, for the CPU or for a version of
# CUDA. Without it comes what pip takes by default, which on Linux is a build for CUDA, of several gigabytes.
FROM python:3.11-slim
ARG TORCH_INDEX=
ENV PYTHONUNBUFFERED=1
RUN apt-get update && apt-get install -y --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/fairseq_dlf
COPY . .
# torch goes first: fairseq would install another one.
RUN pip install --no-cache-dir -c constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0 \
    && pip install --no-cache-dir -c constraints.txt -e '.[images]'
CMD ["bash"]
