# The runtime, as docker-compose.yml starts it. On its own: docker run --init --publish 127.0.0.1:8080:8080 lazarus

FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# The optional dependencies are Nodes for hosts that have an old one.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM node:24-bookworm-slim
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY package.json ./
COPY bin bin
COPY machines machines
COPY cells cells
COPY bus bus
COPY actors actors
COPY cli cli
COPY examples examples
RUN install -d -o node -g node /var/missions /opt/homelab && ln -s /app/bin/lazarus /usr/local/bin/lazarus
ENV NODE_ENV=production HOME=/home/node LAZARUS_MISSIONS=/var/missions LAZARUS_HTTP=0.0.0.0:8080
USER node
VOLUME ["/var/missions", "/opt/homelab"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --retries=3 --start-period=60s \
  CMD ["node", "--eval", "fetch('http://127.0.0.1:8080/healthz').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "bin/lazarus"]
CMD ["up"]
