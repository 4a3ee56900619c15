// Uploads a file with the official client of tus and prints the address of the upload: node upload.js ENDPOINT FILE
import { createReadStream, statSync } from 'node:fs'
import { Upload } from 'tus-js-client'

const [endpoint, file] = process.argv.slice(2)
const upload = new Upload(createReadStream(file), {
  endpoint,
  uploadSize: statSync(file).size,
  chunkSize: Number(process.env.CHUNK_SIZE ?? 1 << 20), // bytes
  retryDelays: Array(100).fill(50), // milliseconds, for each try that makes no progress
  onError: (error) => {
    console.error(error)
    process.exit(1)
  },
  onSuccess: () => {
    console.log(upload.url)
    process.exit(0)
  },
})
upload.start()
