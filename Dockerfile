# The image for the CPU: `docker build -t lockstep .`. It takes what vllm/vllm-openai takes: `docker run -p 8000:8000 lockstep --model …`.
# `scripts/image` makes the same one without a container engine.
FROM node:20-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake g++ make
WORKDIR /source
COPY . .
RUN npm run build:executable
# Unpacked for the user below, so that the root may be read-only.
USER 65532
RUN LOCKSTEP_CACHE=/tmp/lockstep dist/lockstep doctor

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /source/dist/lockstep /usr/bin/lockstep
COPY --from=build --chown=65532:65532 /tmp/lockstep /var/cache/lockstep
ENV LOCKSTEP_CACHE=/var/cache/lockstep
USER 65532:65532
WORKDIR /home/nonroot
EXPOSE 8000
HEALTHCHECK --start-period=120s --interval=10s CMD ["/usr/bin/lockstep", "health"]
ENTRYPOINT ["/usr/bin/lockstep", "serve"]
