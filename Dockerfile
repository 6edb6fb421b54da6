# docker build -t tritforge .      docker run tritforge      docker run tritforge make test
# Debian 12 with Python 3.11 and make, as the README asks for; the targets set up the rest in .venv.
FROM debian:bookworm-slim
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends \
    ca-certificates python3 python3-venv make git iverilog g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /tritforge
COPY . .
RUN make list WHAT=models
CMD ["make", "sim", "MODEL=llama2-7b"]
