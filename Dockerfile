# PulseVault for a machine of one's own. Targets:
#   server      the API. It transcodes nothing, so it has no ffmpeg
#   worker      the transcoder, with ffmpeg
#   functions   the compiled functions, hosted as AWS does: for development
FROM golang:1.26.10-bookworm AS build
ARG GOPROXY
ENV CGO_ENABLED=0
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY functions functions
COPY local local
COPY pkg pkg
ARG VERSION=dev
ENV FLAGS="-buildvcs=false -trimpath" STAMP="-s -w -X pulsevault/pkg/app.Version=$VERSION"
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build $FLAGS -ldflags "$STAMP" -o /out/pulsevault ./local/pulsevault

FROM build AS build-functions
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    set -e; for function in functions/*/; do \
        go build $FLAGS -ldflags "$STAMP" -tags lambda.norpc -o "/out/$function/bootstrap" "./$function"; \
    done

# What all have in common: the authorities that are trusted, the user, and the folder of the media.
FROM debian:12.12-slim AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin pulsevault \
    && install -d -o pulsevault -g pulsevault -m 750 /media
ENV HOST=0.0.0.0 MEDIA_ROOT=/media
# A volume that is new takes its owner from this folder.
VOLUME /media
LABEL org.opencontainers.image.vendor="PulseVault"

FROM base AS server
COPY --from=build /out/pulsevault /usr/local/bin/pulsevault
USER 10001:10001
ENV WORKER_CONCURRENCY=0
EXPOSE 3000
ENTRYPOINT ["pulsevault"]
CMD ["serve"]
ARG VERSION=dev
LABEL org.opencontainers.image.title="PulseVault server" \
    org.opencontainers.image.description="Takes clinics' videos in, and delivers them" \
    org.opencontainers.image.version="$VERSION"

FROM base AS ffmpeg
RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg \
    && rm -rf /var/lib/apt/lists/*

FROM ffmpeg AS worker
COPY --from=build /out/pulsevault /usr/local/bin/pulsevault
USER 10001:10001
ENTRYPOINT ["pulsevault"]
CMD ["worker"]
ARG VERSION=dev
LABEL org.opencontainers.image.title="PulseVault worker" \
    org.opencontainers.image.description="Makes HLS of clinics' videos" \
    org.opencontainers.image.version="$VERSION"

FROM worker AS functions
WORKDIR /srv
COPY template.yaml ./
COPY --from=build-functions /out/functions bin/functions
EXPOSE 3000
CMD ["emulate"]
LABEL org.opencontainers.image.title="PulseVault functions" \
    org.opencontainers.image.description="PulseVault's functions, hosted as AWS hosts them"
