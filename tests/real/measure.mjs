// Measures the real face networks in the runtime they were published for, once, in a folder of its own:
//
//   npm install --ignore-scripts @tensorflow/tfjs@4.22.0 @tensorflow/tfjs-backend-wasm@4.22.0 @vladmandic/face-api@1.7.15
//   node measure.mjs FACE_API_FOLDER HUMAN_MODELS_FOLDER OUT.json
//
// The pictures are waves that any language computes; `test_guides.py` compares.
import fs from 'node:fs';
import path from 'node:path';
import crypto from 'node:crypto';
import { createRequire } from 'node:module';

const [faceFolder, humanFolder, out] = process.argv.slice(2);
const require = createRequire(path.resolve('package.json'));
const tf = require('@tensorflow/tfjs');
const faceapi = require('@vladmandic/face-api/dist/face-api.node-wasm.js');

// (side, side, 3) in [0, 255]: picture k is a sum of waves, as `waves` of test_guides.py has it
function waves(side, k) {
  const x = new Float32Array(side * side * 3);
  for (let i = 0; i < side; i++) for (let j = 0; j < side; j++) for (let c = 0; c < 3; c++) {
    const u = i / side, v = j / side;
    const value = 0.5 + 0.25 * Math.sin(6.5 * (k + 1) * u + c) + 0.25 * Math.cos(9.5 * v * (u + 0.5) + 2 * k - c);
    x[(i * side + j) * 3 + c] = 255 * value;
  }
  return x;
}

const files = {};
function read(folder, name) {
  const data = fs.readFileSync(path.join(folder, name));
  files[name] = crypto.createHash('sha256').update(data).digest('hex');
  return data;
}

const numbers = {};
function keep(name, tensor) {
  const values = Array.from(tensor.dataSync(), (v) => Number(v.toPrecision(7)));
  numbers[name] = { shape: tensor.shape, values };
}

await tf.setBackend('cpu');
await tf.ready();
async function load(net, name) {
  const manifest = JSON.parse(read(faceFolder, `${name}-weights_manifest.json`));
  const data = read(faceFolder, `${name}.bin`);
  const buffer = data.buffer.slice(data.byteOffset, data.byteOffset + data.length);
  net.loadFromWeightMap(tf.io.decodeWeights(buffer, manifest.flatMap((group) => group.weights)));
}
async function each(side, run) {
  const all = [];
  for (const k of [0, 1]) all.push(await run(await faceapi.toNetInput(tf.tensor3d(waves(side, k), [side, side, 3]))));
  return tf.concat(all);
}
const nets = faceapi.nets;
await load(nets.faceRecognitionNet, 'face_recognition_model');
keep('recognition', await each(150, (x) => nets.faceRecognitionNet.forwardInput(x)));
await load(nets.ageGenderNet, 'age_gender_model');
const both = [];
keep('age', await each(112, (x) => { const y = nets.ageGenderNet.runNet(x); both.push(y.gender); return y.age; }));
keep('gender', tf.concat(both));
await load(nets.faceExpressionNet, 'face_expression_model');
keep('expression', await each(112, (x) => nets.faceExpressionNet.runNet(x)));
await load(nets.faceLandmark68TinyNet, 'face_landmark_68_tiny_model');
keep('landmarks', await each(112, (x) => nets.faceLandmark68TinyNet.runNet(x)));
await load(nets.tinyFaceDetector, 'tiny_face_detector_model');
keep('finder', (await each(416, (x) => nets.tinyFaceDetector.forwardInput(x, 416))).stridedSlice([0, 0, 0, 0], [2, 13, 13, 25], [1, 3, 3, 1]));

async function judge(name, side, outputs, prepare) {
  const model = JSON.parse(read(humanFolder, `${name}.json`));
  const data = read(humanFolder, `${name}.bin`);
  const weightData = data.buffer.slice(data.byteOffset, data.byteOffset + data.length);
  const weightSpecs = model.weightsManifest.flatMap((group) => group.weights);
  const artifacts = { modelTopology: model.modelTopology, weightSpecs, weightData };
  const graph = await tf.loadGraphModel({ load: async () => artifacts });
  const input = graph.inputs[0].name;
  const all = outputs.map(() => []);
  for (const k of [0, 1]) {
    const x = prepare(tf.tensor4d(waves(side, k), [1, side, side, 3]));
    [].concat(graph.execute({ [input]: x }, outputs)).forEach((y, i) => all[i].push(y));
  }
  outputs.forEach((output, i) => keep(`${name}/${output}`, tf.concat(all[i])));
}
await judge('faceres', 224, ['age_pred/Softmax', 'gender_pred/Sigmoid', 'global_pooling/Mean'],
  (x) => x.reverse(3).sub([103.939, 116.779, 123.68]));
await judge('mobileface', 112, ['batchnorm0/add_1'], (x) => x);
await judge('emotion', 64, ['Identity'], (x) => x.div(255).mul([0.2989, 0.587, 0.114]).sum(3, true).mul(2).sub(1));

const runtime = `TensorFlow.js ${tf.version.tfjs}, face-api ${faceapi.version}`;
fs.writeFileSync(out, JSON.stringify({ runtime, files, numbers }) + '\n');
