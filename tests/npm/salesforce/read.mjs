// What Salesforce's own library makes of a project: `node read.mjs PROJECT OUT` prints JSON.
// For each package directory: the components its files hold, those its manifest names and finds, and the package.xml
// the library would write. Each is then converted as for a deployment, with the words of `replacements` replaced.
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ComponentSet, MetadataConverter } from '@salesforce/source-deploy-retrieve';

const [project, out] = process.argv.slice(2).map((path) => resolve(path));
process.env.SF_APPLY_REPLACEMENTS_ON_CONVERT = 'true';
process.chdir(project);

const named = (set) =>
  set
    .getSourceComponents()
    .toArray()
    .map((component) => `${component.type.name}:${component.fullName}`)
    .sort();

const read = {};
for (const { path } of JSON.parse(readFileSync(join(project, 'sfdx-project.json'), 'utf8')).packageDirectories) {
  const source = join(project, path);
  const set = ComponentSet.fromSource(source);
  set.sourceApiVersion = '66.0';
  const own = join(project, 'manifest', `${path}.xml`);
  const manifestPath = existsSync(own) ? own : join(project, 'manifest', 'package.xml');
  const listed = await ComponentSet.fromManifest({ manifestPath, resolveSourcePaths: [source] });
  const { packagePath } = await new MetadataConverter().convert(set, 'metadata', {
    type: 'directory',
    outputDirectory: out,
    packageName: path,
  });
  read[path] = {
    components: named(set),
    files: set.getSourceComponents().toArray().flatMap((component) => [component.xml, ...component.walkContent()]),
    listed: named(listed),
    missing: listed
      .toArray()
      .filter((one) => !listed.getSourceComponents(one).toArray().length)
      .map((one) => `${one.type.name ?? one.type}:${one.fullName}`),
    packageXml: await set.getObject(),
    packagePath,
  };
}
console.log(JSON.stringify(read));
